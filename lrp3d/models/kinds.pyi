from models.kinds import *
