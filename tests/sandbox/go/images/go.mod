module gateway-auth.test/sandbox/images

go 1.24
