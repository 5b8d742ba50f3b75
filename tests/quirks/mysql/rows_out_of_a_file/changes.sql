LOAD DATA INFILE 'rows.txt' INTO TABLE kept CHARACTER SET utf8mb4 (id, name, @note, n) SET note = LEFT(@note, 1);

INSERT INTO kept VALUES (9, 'mine', NULL, 9);
LOAD DATA INFILE 'rows.txt' REPLACE INTO TABLE kept CHARACTER SET utf8mb4 (id, @name, note, n) SET name = CONCAT('again ', @name);

DELETE FROM kept WHERE id = 2;
LOAD DATA INFILE 'rows.txt' IGNORE INTO TABLE kept CHARACTER SET utf8mb4 (id, name)
