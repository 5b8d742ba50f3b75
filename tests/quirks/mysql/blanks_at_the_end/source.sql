CREATE TABLE c (k CHAR(5) PRIMARY KEY, v CHAR(3)); CREATE TABLE v (k VARCHAR(5) COLLATE utf8mb4_bin PRIMARY KEY, v VARCHAR(5)); CREATE TABLE b (k BINARY(3) PRIMARY KEY, v VARBINARY(3));
INSERT INTO c VALUES ('a', 'b '), ('', ' '); INSERT INTO v VALUES ('a ', 'b '), ('', ' '); INSERT INTO b VALUES ('a', 'b\0'), ('', ''), ('\0\0a', '\0')
