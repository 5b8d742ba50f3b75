SET sql_mode = ''; SET time_zone = '-03:00';
CREATE TABLE `it's "t\` (id INT PRIMARY KEY, a VARCHAR(30) DEFAULT 'a\\b''c"' COMMENT 'it''s a\\n "c"', t LONGTEXT, b BLOB, first_m TIMESTAMP NULL, m TIMESTAMP NULL DEFAULT NULL, n TIMESTAMP(6) NOT NULL DEFAULT '2001-02-03 04:05:06.000007', d DATETIME NULL, e ENUM('it''s', 'a\\b', '"') DEFAULT 'a\\b', y INT AS (CHAR_LENGTH(CONCAT(a, '\\'))) STORED, CONSTRAINT c CHECK (a <> '\\''"')) COMMENT 'back\\slash and ''quote''';
INSERT INTO `it's "t\` (id, t, b, n, d) VALUES (1, '\\n 😀 "x" ''y''', x'5c27225c', '2024-03-31 02:30:00', '2024-03-31 02:30:00');
INSERT INTO `it's "t\` (id, a, t, e) VALUES (2, '', NULL, 'it''s')
