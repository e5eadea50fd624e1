"""Pictures encoded anew before the engine sees them (VITRINE_SANITIZE); nothing here runs while that is off."""
