-- What the media of a call was like and how long its turns took, as JSON; known at its end.
ALTER TABLE calls ADD COLUMN figures TEXT;
