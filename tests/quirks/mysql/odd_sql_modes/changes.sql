SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'; UPDATE "odd ""t" SET "c'1" = '\''' WHERE id = 2; INSERT INTO "odd ""t" (id) VALUES (4)
