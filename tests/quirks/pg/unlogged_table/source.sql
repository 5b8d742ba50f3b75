create unlogged table fast (id int primary key);
