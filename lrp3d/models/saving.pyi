from models.saving import *
