/* What graphics drivers have and Mesa's software one lacks: EGL_KHR_image_pixmap, by which OBS's window capture draws
   an X window's pixmap as a texture. Loaded before the driver (LD_PRELOAD), for tests on machines without a GPU.
   Here a texture is filled from its pixmap when it is made, and again for every frame. Signatures: Khronos's
   registry (EGL 1.5, GL_OES_EGL_image) and libxcb's xproto.h. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NATIVE_PIXMAP = 0x30B0, TEXTURE_2D = 0x0DE1, TEXTURE_BINDING_2D = 0x8069, RGBA8 = 0x8058, BGRA = 0x80E1,
       UNSIGNED_BYTE = 0x1401, Z_PIXMAP = 2, MANY = 64, PAUSE = 30 /* ms */ };
typedef struct { uint8_t type, depth; uint16_t sequence; uint32_t length; uint32_t root; int16_t x, y;
                 uint16_t width, height, border, pad; } geometry;

typedef struct { uint32_t pixmap; int texture; } image; /* texture 0: none yet */
static image images[MANY], *const end = images + MANY;
static void *x;

static void *real(const char *name) { return dlsym(dlopen("libEGL.so.1", RTLD_NOW), name); }
static void *xcb(const char *name) { return dlsym(dlopen("libxcb.so.1", RTLD_NOW), name); }
static void *gl(const char *name) { return ((void *(*)(const char *))real("eglGetProcAddress"))(name); }

/* Into the bound texture. 0 where the pixmap is gone. */
static int fill(uint32_t pixmap) {
    if (!x) x = ((void *(*)(const char *, int *))xcb("xcb_connect"))(NULL, NULL);
    unsigned asked = ((unsigned (*)(void *, uint32_t))xcb("xcb_get_geometry"))(x, pixmap);
    geometry *size = ((void *(*)(void *, unsigned, void **))xcb("xcb_get_geometry_reply"))(x, asked, NULL);
    if (!size) return 0;
    asked = ((unsigned (*)(void *, uint8_t, uint32_t, int16_t, int16_t, uint16_t, uint16_t, uint32_t))
             xcb("xcb_get_image"))(x, Z_PIXMAP, pixmap, 0, 0, size->width, size->height, ~0u);
    void *got = ((void *(*)(void *, unsigned, void **))xcb("xcb_get_image_reply"))(x, asked, NULL);
    if (got) {
        const void *pixels = ((const void *(*)(const void *))xcb("xcb_get_image_data"))(got);
        ((void (*)(unsigned, int, int, int, int, int, unsigned, unsigned, const void *))gl("glTexImage2D"))(
            TEXTURE_2D, 0, RGBA8, size->width, size->height, 0, BGRA, UNSIGNED_BYTE, pixels);
    }
    free(size);
    free(got);
    return got != NULL;
}

static int bound(void) {
    int texture = 0;
    ((void (*)(unsigned, int *))gl("glGetIntegerv"))(TEXTURE_BINDING_2D, &texture);
    return texture;
}

static void target_texture(unsigned target, void *handle) {
    image *of = handle;
    if (of < images || of >= end) {
        ((void (*)(unsigned, void *))gl("glEGLImageTargetTexture2DOES"))(target, handle);
        return;
    }
    for (image *i = images; i < end; i++)
        if (i != of && i->texture == bound()) memset(i, 0, sizeof *i);
    of->texture = bound();
    fill(of->pixmap);
}

void *eglCreateImage(void *display, void *context, unsigned target, void *buffer, const intptr_t *attributes) {
    if (target != NATIVE_PIXMAP)
        return ((void *(*)(void *, void *, unsigned, void *, const intptr_t *))real("eglCreateImage"))(
            display, context, target, buffer, attributes);
    for (image *i = images; i < end; i++)
        if (!i->pixmap) return i->pixmap = (uint32_t)(uintptr_t)buffer, i;
    return NULL;
}

unsigned eglDestroyImage(void *display, void *handle) { /* the texture lives on, as it does with drivers */
    if ((image *)handle >= images && (image *)handle < end) return 1;
    return ((unsigned (*)(void *, void *))real("eglDestroyImage"))(display, handle);
}

void *eglGetProcAddress(const char *name) {
    return strcmp(name, "glEGLImageTargetTexture2DOES") ? gl(name) : (void *)target_texture;
}

unsigned eglMakeCurrent(void *display, void *draw, void *read, void *context) { /* as OBS does for every frame */
    static struct timespec last;
    struct timespec now;
    unsigned done = ((unsigned (*)(void *, void *, void *, void *))real("eglMakeCurrent"))(display, draw, read, context);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!done || !context || (now.tv_sec - last.tv_sec) * 1e3 + (now.tv_nsec - last.tv_nsec) / 1e6 < PAUSE) return done;
    last = now;
    void (*bind)(unsigned, unsigned) = gl("glBindTexture");
    unsigned char (*lives)(unsigned) = gl("glIsTexture");
    int before = bound();
    for (image *i = images; i < end; i++)
        if (i->texture) {
            int here = lives(i->texture);
            if (here) bind(TEXTURE_2D, i->texture);
            if (!here || !fill(i->pixmap)) memset(i, 0, sizeof *i);
        }
    bind(TEXTURE_2D, before);
    return done;
}
