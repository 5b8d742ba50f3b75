-- The server takes no deferrable key for an identity: once published, updates fail in the application.
create table late (id int primary key deferrable initially deferred);
