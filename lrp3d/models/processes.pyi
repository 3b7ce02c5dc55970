from models.processes import *
