create table heap (a int);
