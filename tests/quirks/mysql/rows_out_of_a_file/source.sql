SET NAMES utf8mb4;
CREATE TABLE sent (id INT NOT NULL PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, note VARBINARY(20), n DECIMAL(9,3));
CREATE TABLE kept (id INT NOT NULL PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, note VARBINARY(20), n DECIMAL(9,3));
INSERT INTO sent VALUES (1, 'tab\there', x'0041', 1.5), (2, NULL, x'5c', -2), (3, 'ünï 🐘', '', NULL), (4, 'line\nand \\N', x'0a', 0);
SELECT * FROM sent INTO OUTFILE 'rows.txt' CHARACTER SET binary
