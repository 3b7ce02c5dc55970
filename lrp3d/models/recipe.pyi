from models.recipe import *
