create table made (id int primary key, g int generated always as (id) stored);
alter table made replica identity full;
