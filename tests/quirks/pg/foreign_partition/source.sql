create foreign data wrapper nowhere;
create server elsewhere foreign data wrapper nowhere;
create table parts (id int) partition by range (id);
create foreign table far partition of parts default server elsewhere;
alter table parts replica identity full;
