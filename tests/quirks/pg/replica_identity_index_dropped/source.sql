-- An identity whose index is gone identifies nothing.
create table coded (id int primary key, code text not null unique);
alter table coded replica identity using index coded_code_key;
alter table coded drop constraint coded_code_key;
