from models.counting import *
