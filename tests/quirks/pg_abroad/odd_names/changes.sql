UPDATE "a b" SET "ü €" = 'w', "ba`ck" = NULL; INSERT INTO "Mixed" VALUES (2, 3); DELETE FROM "Mixed" WHERE "Id" = 1
