create table parent (id int primary key);
create table child (primary key (id)) inherits (parent);
