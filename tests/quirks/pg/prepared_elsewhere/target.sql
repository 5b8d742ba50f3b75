create table u (id int primary key);

begin;
insert into u values (1);
prepare transaction 'elsewhere';
