/*M!999999\- enable the sandbox mode */ 

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `types` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci */;

USE `types`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `bits` (
  `id` int(11) NOT NULL,
  `c0` bit(1) DEFAULT NULL,
  `c1` bit(7) DEFAULT NULL,
  `c2` bit(8) DEFAULT NULL,
  `c3` bit(9) DEFAULT NULL,
  `c4` bit(15) DEFAULT NULL,
  `c5` bit(16) DEFAULT NULL,
  `c6` bit(17) DEFAULT NULL,
  `c7` bit(24) DEFAULT NULL,
  `c8` bit(31) DEFAULT NULL,
  `c9` bit(32) DEFAULT NULL,
  `c10` bit(33) DEFAULT NULL,
  `c11` bit(48) DEFAULT NULL,
  `c12` bit(63) DEFAULT NULL,
  `c13` bit(64) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `choices` (
  `id` int(11) NOT NULL,
  `c0` enum('a','b','c') DEFAULT NULL,
  `c1` enum('','it''s','co"m,ma','日本','back\\slash') DEFAULT NULL,
  `c2` enum('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64','m65','m66','m67','m68','m69','m70','m71','m72','m73','m74','m75','m76','m77','m78','m79','m80','m81','m82','m83','m84','m85','m86','m87','m88','m89','m90','m91','m92','m93','m94','m95','m96','m97','m98','m99','m100','m101','m102','m103','m104','m105','m106','m107','m108','m109','m110','m111','m112','m113','m114','m115','m116','m117','m118','m119','m120','m121','m122','m123','m124','m125','m126','m127','m128','m129','m130','m131','m132','m133','m134','m135','m136','m137','m138','m139','m140','m141','m142','m143','m144','m145','m146','m147','m148','m149','m150','m151','m152','m153','m154','m155','m156','m157','m158','m159','m160','m161','m162','m163','m164','m165','m166','m167','m168','m169','m170','m171','m172','m173','m174','m175','m176','m177','m178','m179','m180','m181','m182','m183','m184','m185','m186','m187','m188','m189','m190','m191','m192','m193','m194','m195','m196','m197','m198','m199','m200','m201','m202','m203','m204','m205','m206','m207','m208','m209','m210','m211','m212','m213','m214','m215','m216','m217','m218','m219','m220','m221','m222','m223','m224','m225','m226','m227','m228','m229','m230','m231','m232','m233','m234','m235','m236','m237','m238','m239','m240','m241','m242','m243','m244','m245','m246','m247','m248','m249','m250','m251','m252','m253','m254','m255') DEFAULT NULL,
  `c3` enum('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64','m65','m66','m67','m68','m69','m70','m71','m72','m73','m74','m75','m76','m77','m78','m79','m80','m81','m82','m83','m84','m85','m86','m87','m88','m89','m90','m91','m92','m93','m94','m95','m96','m97','m98','m99','m100','m101','m102','m103','m104','m105','m106','m107','m108','m109','m110','m111','m112','m113','m114','m115','m116','m117','m118','m119','m120','m121','m122','m123','m124','m125','m126','m127','m128','m129','m130','m131','m132','m133','m134','m135','m136','m137','m138','m139','m140','m141','m142','m143','m144','m145','m146','m147','m148','m149','m150','m151','m152','m153','m154','m155','m156','m157','m158','m159','m160','m161','m162','m163','m164','m165','m166','m167','m168','m169','m170','m171','m172','m173','m174','m175','m176','m177','m178','m179','m180','m181','m182','m183','m184','m185','m186','m187','m188','m189','m190','m191','m192','m193','m194','m195','m196','m197','m198','m199','m200','m201','m202','m203','m204','m205','m206','m207','m208','m209','m210','m211','m212','m213','m214','m215','m216','m217','m218','m219','m220','m221','m222','m223','m224','m225','m226','m227','m228','m229','m230','m231','m232','m233','m234','m235','m236','m237','m238','m239','m240','m241','m242','m243','m244','m245','m246','m247','m248','m249','m250','m251','m252','m253','m254','m255','m256') DEFAULT NULL,
  `c4` enum('é','ü') CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `c5` set('m1') DEFAULT NULL,
  `c6` set('m1','m2','m3','m4','m5','m6','m7','m8') DEFAULT NULL,
  `c7` set('m1','m2','m3','m4','m5','m6','m7','m8','m9') DEFAULT NULL,
  `c8` set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16') DEFAULT NULL,
  `c9` set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17') DEFAULT NULL,
  `c10` set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24') DEFAULT NULL,
  `c11` set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25') DEFAULT NULL,
  `c12` set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33') DEFAULT NULL,
  `c13` set('m1','m2','m3','m4','m5','m6','m7','m8','m9','m10','m11','m12','m13','m14','m15','m16','m17','m18','m19','m20','m21','m22','m23','m24','m25','m26','m27','m28','m29','m30','m31','m32','m33','m34','m35','m36','m37','m38','m39','m40','m41','m42','m43','m44','m45','m46','m47','m48','m49','m50','m51','m52','m53','m54','m55','m56','m57','m58','m59','m60','m61','m62','m63','m64') DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `decimals` (
  `id` int(11) NOT NULL,
  `d1_0` decimal(1,0) DEFAULT NULL,
  `d1_1` decimal(1,1) DEFAULT NULL,
  `d4_2` decimal(4,2) DEFAULT NULL,
  `d5_2` decimal(5,2) DEFAULT NULL,
  `d9_0` decimal(9,0) DEFAULT NULL,
  `d9_9` decimal(9,9) DEFAULT NULL,
  `d10_0` decimal(10,0) DEFAULT NULL,
  `d10_2` decimal(10,2) DEFAULT NULL,
  `d18_9` decimal(18,9) DEFAULT NULL,
  `d19_10` decimal(19,10) DEFAULT NULL,
  `d20_5` decimal(20,5) DEFAULT NULL,
  `d28_1` decimal(28,1) DEFAULT NULL,
  `d30_30` decimal(30,30) DEFAULT NULL,
  `d38_10` decimal(38,10) DEFAULT NULL,
  `d65_0` decimal(65,0) DEFAULT NULL,
  `d65_30` decimal(65,30) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `floats` (
  `id` int(11) NOT NULL,
  `c0` float DEFAULT NULL,
  `c1` double DEFAULT NULL,
  `c2` float unsigned DEFAULT NULL,
  `c3` float(7,4) DEFAULT NULL,
  `c4` double(15,5) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `generated` (
  `id` int(11) NOT NULL,
  `a` int(11) DEFAULT NULL,
  `v` int(11) GENERATED ALWAYS AS (`a` * 2) VIRTUAL,
  `s` varchar(20) GENERATED ALWAYS AS (concat('n',`a`)) STORED,
  `hidden` int(11) INVISIBLE DEFAULT NULL,
  `z` int(11) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `integers` (
  `id` int(11) NOT NULL,
  `tinyint` tinyint(4) DEFAULT NULL,
  `tinyintu` tinyint(3) unsigned DEFAULT NULL,
  `smallint` smallint(6) DEFAULT NULL,
  `smallintu` smallint(5) unsigned DEFAULT NULL,
  `mediumint` mediumint(9) DEFAULT NULL,
  `mediumintu` mediumint(8) unsigned DEFAULT NULL,
  `int` int(11) DEFAULT NULL,
  `intu` int(10) unsigned DEFAULT NULL,
  `bigint` bigint(20) DEFAULT NULL,
  `bigintu` bigint(20) unsigned DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `large` (
  `id` int(11) NOT NULL,
  `b` mediumblob DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `lengths` (
  `id` int(11) NOT NULL,
  `c0` char(1) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `c1` char(255) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `c2` char(63) DEFAULT NULL,
  `c3` char(64) DEFAULT NULL,
  `c4` char(255) DEFAULT NULL,
  `c5` varchar(255) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `c6` varchar(256) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `c7` varchar(63) DEFAULT NULL,
  `c8` varchar(64) DEFAULT NULL,
  `c9` binary(1) DEFAULT NULL,
  `c10` binary(16) DEFAULT NULL,
  `c11` binary(255) DEFAULT NULL,
  `c12` varbinary(255) DEFAULT NULL,
  `c13` varbinary(256) DEFAULT NULL,
  `c14` tinytext DEFAULT NULL,
  `c15` text DEFAULT NULL,
  `c16` mediumtext DEFAULT NULL,
  `c17` longtext DEFAULT NULL,
  `c18` tinyblob DEFAULT NULL,
  `c19` blob DEFAULT NULL,
  `c20` mediumblob DEFAULT NULL,
  `c21` longblob DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `mariadb` (
  `id` int(11) NOT NULL,
  `c0` uuid DEFAULT NULL,
  `c1` inet6 DEFAULT NULL,
  `c2` inet4 DEFAULT NULL,
  `c3` varchar(500) /*M!100301 COMPRESSED*/ DEFAULT NULL,
  `c4` blob /*M!100301 COMPRESSED*/ DEFAULT NULL,
  `c5` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`c5`)),
  `c6` point DEFAULT NULL,
  `c7` geometry DEFAULT NULL,
  `c8` int(10) unsigned zerofill DEFAULT NULL,
  `c9` tinyint(1) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `myisam` (
  `id` int(11) NOT NULL,
  `a` varchar(10) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=MyISAM DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `no_key` (
  `a` int(11) NOT NULL,
  `b` varchar(10) DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `nulls` (
  `id` int(11) NOT NULL,
  `n0` varchar(9) DEFAULT NULL,
  `n1` int(11) DEFAULT NULL,
  `n2` varchar(9) DEFAULT NULL,
  `n3` int(11) DEFAULT NULL,
  `n4` varchar(9) DEFAULT NULL,
  `n5` int(11) DEFAULT NULL,
  `n6` varchar(9) DEFAULT NULL,
  `n7` int(11) DEFAULT NULL,
  `n8` varchar(9) DEFAULT NULL,
  `n9` int(11) DEFAULT NULL,
  `n10` varchar(9) DEFAULT NULL,
  `n11` int(11) DEFAULT NULL,
  `n12` varchar(9) DEFAULT NULL,
  `n13` int(11) DEFAULT NULL,
  `n14` varchar(9) DEFAULT NULL,
  `n15` int(11) DEFAULT NULL,
  `n16` varchar(9) DEFAULT NULL,
  `n17` int(11) DEFAULT NULL,
  `n18` varchar(9) DEFAULT NULL,
  `n19` int(11) DEFAULT NULL,
  `n20` varchar(9) DEFAULT NULL,
  `n21` int(11) DEFAULT NULL,
  `n22` varchar(9) DEFAULT NULL,
  `n23` int(11) DEFAULT NULL,
  `n24` varchar(9) DEFAULT NULL,
  `n25` int(11) DEFAULT NULL,
  `n26` varchar(9) DEFAULT NULL,
  `n27` int(11) DEFAULT NULL,
  `n28` varchar(9) DEFAULT NULL,
  `n29` int(11) DEFAULT NULL,
  `n30` varchar(9) DEFAULT NULL,
  `n31` int(11) DEFAULT NULL,
  `n32` varchar(9) DEFAULT NULL,
  `n33` int(11) DEFAULT NULL,
  `n34` varchar(9) DEFAULT NULL,
  `n35` int(11) DEFAULT NULL,
  `n36` varchar(9) DEFAULT NULL,
  `n37` int(11) DEFAULT NULL,
  `n38` varchar(9) DEFAULT NULL,
  `n39` int(11) DEFAULT NULL,
  `n40` varchar(9) DEFAULT NULL,
  `n41` int(11) DEFAULT NULL,
  `n42` varchar(9) DEFAULT NULL,
  `n43` int(11) DEFAULT NULL,
  `n44` varchar(9) DEFAULT NULL,
  `n45` int(11) DEFAULT NULL,
  `n46` varchar(9) DEFAULT NULL,
  `n47` int(11) DEFAULT NULL,
  `n48` varchar(9) DEFAULT NULL,
  `n49` int(11) DEFAULT NULL,
  `n50` varchar(9) DEFAULT NULL,
  `n51` int(11) DEFAULT NULL,
  `n52` varchar(9) DEFAULT NULL,
  `n53` int(11) DEFAULT NULL,
  `n54` varchar(9) DEFAULT NULL,
  `n55` int(11) DEFAULT NULL,
  `n56` varchar(9) DEFAULT NULL,
  `n57` int(11) DEFAULT NULL,
  `n58` varchar(9) DEFAULT NULL,
  `n59` int(11) DEFAULT NULL,
  `n60` varchar(9) DEFAULT NULL,
  `n61` int(11) DEFAULT NULL,
  `n62` varchar(9) DEFAULT NULL,
  `n63` int(11) DEFAULT NULL,
  `n64` varchar(9) DEFAULT NULL,
  `n65` int(11) DEFAULT NULL,
  `n66` varchar(9) DEFAULT NULL,
  `n67` int(11) DEFAULT NULL,
  `n68` varchar(9) DEFAULT NULL,
  `n69` int(11) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `temporals` (
  `id` int(11) NOT NULL,
  `d` date DEFAULT NULL,
  `y` year(4) DEFAULT NULL,
  `time0` time DEFAULT NULL,
  `time1` time(1) DEFAULT NULL,
  `time2` time(2) DEFAULT NULL,
  `time3` time(3) DEFAULT NULL,
  `time4` time(4) DEFAULT NULL,
  `time5` time(5) DEFAULT NULL,
  `time6` time(6) DEFAULT NULL,
  `datetime0` datetime DEFAULT NULL,
  `datetime1` datetime(1) DEFAULT NULL,
  `datetime2` datetime(2) DEFAULT NULL,
  `datetime3` datetime(3) DEFAULT NULL,
  `datetime4` datetime(4) DEFAULT NULL,
  `datetime5` datetime(5) DEFAULT NULL,
  `datetime6` datetime(6) DEFAULT NULL,
  `timestamp0` timestamp NULL DEFAULT NULL,
  `timestamp1` timestamp(1) NULL DEFAULT NULL,
  `timestamp2` timestamp(2) NULL DEFAULT NULL,
  `timestamp3` timestamp(3) NULL DEFAULT NULL,
  `timestamp4` timestamp(4) NULL DEFAULT NULL,
  `timestamp5` timestamp(5) NULL DEFAULT NULL,
  `timestamp6` timestamp(6) NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `texts` (
  `id` int(11) NOT NULL,
  `char_latin1` char(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `varchar_latin1` varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT NULL,
  `char_ascii` char(20) CHARACTER SET ascii COLLATE ascii_general_ci DEFAULT NULL,
  `varchar_ascii` varchar(20) CHARACTER SET ascii COLLATE ascii_general_ci DEFAULT NULL,
  `char_utf8mb3` char(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci DEFAULT NULL,
  `varchar_utf8mb3` varchar(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci DEFAULT NULL,
  `char_utf8mb4` char(20) DEFAULT NULL,
  `varchar_utf8mb4` varchar(20) DEFAULT NULL,
  `char_cp1251` char(20) CHARACTER SET cp1251 COLLATE cp1251_general_ci DEFAULT NULL,
  `varchar_cp1251` varchar(20) CHARACTER SET cp1251 COLLATE cp1251_general_ci DEFAULT NULL,
  `char_koi8r` char(20) CHARACTER SET koi8r COLLATE koi8r_general_ci DEFAULT NULL,
  `varchar_koi8r` varchar(20) CHARACTER SET koi8r COLLATE koi8r_general_ci DEFAULT NULL,
  `char_latin2` char(20) CHARACTER SET latin2 COLLATE latin2_general_ci DEFAULT NULL,
  `varchar_latin2` varchar(20) CHARACTER SET latin2 COLLATE latin2_general_ci DEFAULT NULL,
  `char_greek` char(20) CHARACTER SET greek COLLATE greek_general_ci DEFAULT NULL,
  `varchar_greek` varchar(20) CHARACTER SET greek COLLATE greek_general_ci DEFAULT NULL,
  `char_hebrew` char(20) CHARACTER SET hebrew COLLATE hebrew_general_ci DEFAULT NULL,
  `varchar_hebrew` varchar(20) CHARACTER SET hebrew COLLATE hebrew_general_ci DEFAULT NULL,
  `char_gbk` char(20) CHARACTER SET gbk COLLATE gbk_chinese_ci DEFAULT NULL,
  `varchar_gbk` varchar(20) CHARACTER SET gbk COLLATE gbk_chinese_ci DEFAULT NULL,
  `char_big5` char(20) CHARACTER SET big5 COLLATE big5_chinese_ci DEFAULT NULL,
  `varchar_big5` varchar(20) CHARACTER SET big5 COLLATE big5_chinese_ci DEFAULT NULL,
  `char_sjis` char(20) CHARACTER SET sjis COLLATE sjis_japanese_ci DEFAULT NULL,
  `varchar_sjis` varchar(20) CHARACTER SET sjis COLLATE sjis_japanese_ci DEFAULT NULL,
  `char_euckr` char(20) CHARACTER SET euckr COLLATE euckr_korean_ci DEFAULT NULL,
  `varchar_euckr` varchar(20) CHARACTER SET euckr COLLATE euckr_korean_ci DEFAULT NULL,
  `char_ucs2` char(20) CHARACTER SET ucs2 COLLATE ucs2_general_ci DEFAULT NULL,
  `varchar_ucs2` varchar(20) CHARACTER SET ucs2 COLLATE ucs2_general_ci DEFAULT NULL,
  `char_utf16` char(20) CHARACTER SET utf16 COLLATE utf16_general_ci DEFAULT NULL,
  `varchar_utf16` varchar(20) CHARACTER SET utf16 COLLATE utf16_general_ci DEFAULT NULL,
  `char_utf16le` char(20) CHARACTER SET utf16le COLLATE utf16le_general_ci DEFAULT NULL,
  `varchar_utf16le` varchar(20) CHARACTER SET utf16le COLLATE utf16le_general_ci DEFAULT NULL,
  `char_utf32` char(20) CHARACTER SET utf32 COLLATE utf32_general_ci DEFAULT NULL,
  `varchar_utf32` varchar(20) CHARACTER SET utf32 COLLATE utf32_general_ci DEFAULT NULL,
  `char_cp850` char(20) CHARACTER SET cp850 COLLATE cp850_general_ci DEFAULT NULL,
  `varchar_cp850` varchar(20) CHARACTER SET cp850 COLLATE cp850_general_ci DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `two_keys` (
  `z` int(11) DEFAULT NULL,
  `a` int(11) NOT NULL,
  `b` varchar(10) NOT NULL,
  PRIMARY KEY (`b`,`a`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `unique_key` (
  `n` int(11) DEFAULT NULL,
  `a` int(11) NOT NULL,
  `b` varchar(10) DEFAULT NULL,
  UNIQUE KEY `a` (`a`),
  UNIQUE KEY `n` (`n`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `odd ``db``` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci */;

USE `odd ``db```;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `t odd``name` (
  `id` int(11) NOT NULL,
  `select` int(11) DEFAULT NULL,
  `we``ird "col"` varchar(10) DEFAULT NULL,
  `日本語列` varchar(10) DEFAULT NULL,
  `col with space` int(11) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
/*!40101 SET character_set_client = @saved_cs_client */;
