"""Language: what Casemate knows about words and sentences, whatever the language."""
