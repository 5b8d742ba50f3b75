create table t (id int primary key);

begin;
insert into t values (1);
prepare transaction 'culprit';
