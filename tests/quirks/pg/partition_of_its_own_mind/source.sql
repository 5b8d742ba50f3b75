create table parts (id int primary key, code text) partition by range (id);
create table part partition of parts default;
alter table part add unique (code);
