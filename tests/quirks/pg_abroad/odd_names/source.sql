CREATE TABLE "a b" ("select" int PRIMARY KEY, "quo""ted" text, "ba`ck" text, "ü €" text);
INSERT INTO "a b" VALUES (1, 'x', 'y', 'z');
CREATE TABLE "Mixed" ("Id" int PRIMARY KEY, "order" int);
INSERT INTO "Mixed" VALUES (1, 2)
