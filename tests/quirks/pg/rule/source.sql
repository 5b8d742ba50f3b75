create table t (id int primary key);
create table log (id int primary key);
create rule also as on insert to t do also insert into log values (new.id);
