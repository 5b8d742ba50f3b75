-- A slot waits for the transactions of every database of the server.
create table t (id int primary key);
