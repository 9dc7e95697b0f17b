"""The joints of FLAME's layout, which the open head shares."""

JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
N_JOINTS = len(JOINTS)
ROOT_JOINT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(N_JOINTS)
PARENTS = (-1, ROOT_JOINT, NECK, NECK, NECK)
JAW_OPEN_RADIANS = 0.4193  # rotation of the open head's jaw that equals ARKit's jawOpen = 1 (setup/README.md)
