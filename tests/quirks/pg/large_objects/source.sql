create table t (id int primary key, doc oid);
insert into t values (1, lo_create(0));
