"""The one command: hands its words on to the rooms, imports none of them at its top, and knows no setting."""
