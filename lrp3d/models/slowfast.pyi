from models.slowfast import *
