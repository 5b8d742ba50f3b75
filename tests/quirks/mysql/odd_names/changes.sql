UPDATE `sel``ect; -- "x"` SET `%s '"` = NULL; INSERT INTO `sel``ect; -- "x"` (`or``der`) VALUES (2)
