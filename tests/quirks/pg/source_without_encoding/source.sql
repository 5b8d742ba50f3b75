-- Its text is bytes: what is not UTF-8 cannot be moved.
create table t (id int primary key, v text);
