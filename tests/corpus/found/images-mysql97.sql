USE im;
CREATE TABLE `t` (
  `id` int NOT NULL,
  `a` int DEFAULT '7',
  `b` varchar(20) DEFAULT NULL,
  `c` text,
  `j` json DEFAULT NULL,
  `j2` json DEFAULT NULL,
  `g` int GENERATED ALWAYS AS ((`a` + 1)) VIRTUAL,
  `u` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
CREATE TABLE `n` (
  `a` int DEFAULT NULL,
  `b` varchar(20) DEFAULT NULL,
  `c` text
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
CREATE TABLE `q` (
  `a` int NOT NULL,
  `b` varchar(20) NOT NULL,
  `c` text,
  UNIQUE KEY `b` (`b`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
CREATE TABLE `w` (
  `id` int NOT NULL,
  `a` int DEFAULT NULL,
  `u` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
