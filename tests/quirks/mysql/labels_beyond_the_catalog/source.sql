SET NAMES utf8mb4;
CREATE TABLE moods (
  id INT NOT NULL PRIMARY KEY,
  one ENUM('sad','what🐘','what?','🐘') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  some SET('a','🐘','?') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  note ENUM('a?b') CHARACTER SET latin1,
  made VARCHAR(20) CHARACTER SET utf8mb4 AS (CONCAT(id, '?')) STORED
);
INSERT INTO moods (id, one, some, note) VALUES (1, 'what🐘', 'a,🐘', 'a?b'), (2, 'what?', '?', NULL)
