"""Who may use which chip where: permission rules as dated data. Pure."""
