# cmake -DINPUT=file -DOUTPUT=file.c -DNAME=name -DHEADER=header.h -P embed.cmake
# A file as a C array of characters: `name` and `name_bytes`, as HEADER declares them.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," characters "${hex}")
file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\nconst char ${NAME}[] = {${characters}};\n"
     "const size_t ${NAME}_bytes = sizeof(${NAME});\n")
