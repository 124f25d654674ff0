--
-- PostgreSQL database dump
--

\restrict 31Z3S8N7J9H15iPDklIbkAjrKxDUUrpS8jCP64NlTcD9FTK0mXs8OAq0g1NspTW

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: app; Type: SCHEMA; Schema: -; Owner: postgres
--

CREATE SCHEMA app;


ALTER SCHEMA app OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: items; Type: TABLE; Schema: app; Owner: postgres
--

CREATE TABLE app.items (
    sku text NOT NULL,
    warehouse text NOT NULL,
    qty integer
);

ALTER TABLE ONLY app.items REPLICA IDENTITY FULL;


ALTER TABLE app.items OWNER TO postgres;

--
-- Name: customers; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.customers (
    id integer NOT NULL,
    name text,
    email character varying(100),
    balance numeric(12,2) DEFAULT 0 NOT NULL,
    active boolean,
    created timestamp with time zone
);

ALTER TABLE ONLY public.customers REPLICA IDENTITY FULL;


ALTER TABLE public.customers OWNER TO postgres;

--
-- Name: items items_pkey; Type: CONSTRAINT; Schema: app; Owner: postgres
--

ALTER TABLE ONLY app.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (sku, warehouse);


--
-- Name: customers customers_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (id);


--
-- Name: pub; Type: PUBLICATION; Schema: -; Owner: postgres
--

CREATE PUBLICATION pub FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate');


ALTER PUBLICATION pub OWNER TO postgres;

--
-- PostgreSQL database dump complete
--

\unrestrict 31Z3S8N7J9H15iPDklIbkAjrKxDUUrpS8jCP64NlTcD9FTK0mXs8OAq0g1NspTW

