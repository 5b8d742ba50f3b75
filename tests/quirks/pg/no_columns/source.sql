create table bare ();
alter table bare replica identity full;
