create foreign data wrapper nowhere;
create server elsewhere foreign data wrapper nowhere;
create foreign table far (id int) server elsewhere;
create table near (id int primary key);
