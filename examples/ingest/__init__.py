"""Ways into streams: folders of files, COMTRADE recordings, a feed of synchrophasors."""
