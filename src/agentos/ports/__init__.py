"""One Protocol for each kind of device the machine drives, and Trap, the boundary itself."""
