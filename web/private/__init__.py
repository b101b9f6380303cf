"""The patients' side: pages behind the links in their mails. Nothing here shares a door with the staff's pages."""
