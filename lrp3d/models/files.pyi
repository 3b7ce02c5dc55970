from models.files import *
