CREATE EXTENSION citext;
CREATE TABLE t (mail citext PRIMARY KEY, v int);
INSERT INTO t VALUES ('Ann@x', 1), ('bob@x', 2)
