-- Paper and live trades of one bot are two histories: a row each.

ALTER TABLE bots DROP CONSTRAINT bots_name_key;
ALTER TABLE bots ADD CONSTRAINT bots_name_mode_key UNIQUE (name, mode);
