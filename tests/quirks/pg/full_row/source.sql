create table whole (id int);
alter table whole replica identity full;
