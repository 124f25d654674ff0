UPDATE p SET id=id+1 ORDER BY id DESC;
DELETE FROM p WHERE id=2;
BEGIN; UPDATE p SET code='changed', id=50 WHERE id=3; UPDATE u SET n=9 WHERE code='changed'; DELETE FROM p WHERE id=5; COMMIT;
