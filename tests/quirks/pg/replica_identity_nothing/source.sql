-- The key is there, and the log will not carry it.
create table quiet (id int primary key);
alter table quiet replica identity nothing;
