CREATE TABLE `sel``ect; -- "x"` (`or``der` INT PRIMARY KEY, `a.b` INT, `%s '"` VARCHAR(9), `漢字` INT DEFAULT 3, KEY `in``dex` (`a.b`)); INSERT INTO `sel``ect; -- "x"` VALUES (1, 2, 'x', 4)
