/*
 * Base64 bodies in mail: find them, write the stream form and its recipe, join them again.
 *
 * cext/reference/mime.py says what is a body. The work on whole lines is done in mime_lines.h.
 */
#ifndef STRONGROOM_MIME_H
#define STRONGROOM_MIME_H

#include <stdlib.h>

#include "mime_lines.h"

#define MIME_BODY_BYTES_MIN 2048
#define MIME_BODY_CHARACTERS_MIN ((MIME_BODY_BYTES_MIN + 2) / 3 * 4)
#define MIME_LINE_CHARACTERS_MAX 996
#define MIME_ONE_LINE_CHARACTERS_MAX (64 << 20)
#define MIME_FIELD_NAME_BYTES_MAX 77
#define MIME_STEP_CHARACTERS 4096 /* one long line is worked on as lines of this length without newline */
#define MIME_RECIPE_BODY_BYTES_MAX 24 /* two varints of 10 bytes, one of 2, the newline */

/* ---- bodies ---- */

typedef struct {
    size_t start;       /* of its text in the span */
    size_t end;         /* behind its text */
    size_t bytes;       /* decoded */
    unsigned line;      /* characters of a line; 0: one line */
    unsigned newline;   /* 0 none, 1 LF, 2 CRLF: its width as well */
} mime_body;

typedef struct {
    mime_body *items;
    size_t count;
    size_t room;
} mime_bodies;

static int mime_add(mime_bodies *bodies, mime_body body)
{
    if (bodies->count == bodies->room) {
        size_t room = bodies->room ? bodies->room * 2 : 64;
        mime_body *items = realloc(bodies->items, room * sizeof *items);
        if (items == NULL)
            return -1;
        bodies->items = items;
        bodies->room = room;
    }
    bodies->items[bodies->count++] = body;
    return 0;
}

/* Whether a span begins as mail does: a field name and ':', or the "From " of mbox. */
static int mime_looks_like_mail(const uint8_t *text, size_t size)
{
    size_t at;
    for (at = 0; at < size && at <= MIME_FIELD_NAME_BYTES_MAX; at++) {
        if (text[at] == ':')
            return at > 0;
        if (text[at] <= ' ' || text[at] > '~')
            break;
    }
    return size >= 5 && memcmp(text, "From ", 5) == 0;
}

/* Characters of a last line of at most `most`, with '=' if it has; 0 when it is none. `newline` 0: any. */
static size_t mime_last_line(const uint8_t *text, size_t size, size_t most, int newline)
{
    size_t run = mime.run(text, size < most ? size : most);
    size_t characters = run;
    int behind;
    while (characters < size && characters < run + 2 && text[characters] == '=')
        characters++;
    if (characters == 0 || characters % 4 != 0 || characters > most)
        return 0;
    if (characters - run == 1 && mime_value[text[run - 1]] & 3)
        return 0;
    if (characters - run == 2 && mime_value[text[run - 1]] & 15)
        return 0;
    if (characters == size)
        return characters;
    behind = mime_newline_at(text + characters, size - characters);
    return behind > 0 && (newline == 0 || behind == newline) ? characters : 0;
}

static size_t mime_decoded_bytes(const uint8_t *text, size_t characters)
{
    if (characters == 0)
        return 0;
    return characters / 4 * 3 - (text[characters - 1] == '=') - (text[characters - 2] == '=');
}

/* The body that begins at `start`, right behind an empty line; its `bytes` are 0 when there is none. */
static mime_body mime_body_at(const uint8_t *text, size_t size, size_t start)
{
    mime_body body = {start, start, 0, 0, 0};
    const uint8_t *first = text + start;
    size_t left = size - start;
    size_t run = mime.run(first, left < MIME_LINE_CHARACTERS_MAX + 1 ? left : MIME_LINE_CHARACTERS_MAX + 1);
    size_t full, last, at;
    int newline;
    if (run > MIME_LINE_CHARACTERS_MAX) {
        last = mime_last_line(first, left, MIME_ONE_LINE_CHARACTERS_MAX, 0);
        body.end = start + last;
        body.bytes = mime_decoded_bytes(first, last);
    } else if (run >= 4 && run % 4 == 0 && (newline = mime_newline_at(first + run, left - run)) > 0) {
        full = mime.count(first, left, run, newline);
        at = full * (run + (size_t)newline);
        last = mime_last_line(first + at, left - at, run, newline);
        body.end = start + at + last - (last == 0 ? (size_t)newline : 0);
        body.bytes = full * run / 4 * 3 + mime_decoded_bytes(first + at, last);
        body.line = (unsigned)run;
        body.newline = (unsigned)newline;
    }
    if (body.bytes < MIME_BODY_BYTES_MIN)
        body.bytes = 0;
    return body;
}

/* Add the bodies of one span; -1: out of memory. */
static int mime_find(mime_bodies *bodies, const uint8_t *text, size_t size)
{
    size_t at = 0;
    if (size < MIME_BODY_CHARACTERS_MIN || !mime_looks_like_mail(text, size))
        return 0;
    for (;;) {
        size_t start = at + mime.behind_empty_line(text + at, size - at);
        mime_body body;
        if (size - start < MIME_BODY_CHARACTERS_MIN)
            return 0;
        body = mime_body_at(text, size, start);
        if (body.bytes > 0) {
            if (mime_add(bodies, body) < 0)
                return -1;
            at = body.end;
        } else {
            at = start - 1; /* its newline may end the line before another empty one */
        }
    }
}

/* Decode whole lines and hold them against the text; 0 when they are not the same. */
static int mime_decode_lines(uint8_t *bytes, const uint8_t *text, size_t lines, size_t line, unsigned width)
{
    size_t group = 8192 / line + 1; /* small enough to be read again from the nearest cache */
    while (lines > 0) {
        size_t now = lines < group ? lines : group;
        mime.decode(bytes, text, now, line, width);
        if (mime.differs(text, bytes, now, line, width))
            return 0;
        bytes += now * (line / 4 * 3);
        text += now * (line + width);
        lines -= now;
    }
    return 1;
}

/* The last group of a body, of 1 or 2 bytes. */
static void mime_encode_rest(uint8_t *text, const uint8_t *bytes, size_t count)
{
    uint8_t three[3] = {bytes[0], count == 2 ? bytes[1] : 0, 0};
    mime_encode_block_scalar(text, three);
    text[3] = '=';
    if (count == 1)
        text[2] = '=';
}

/*
 * The form of a body with `bytes` decoded bytes: full lines, then whole groups of the last line, then the bytes of a
 * padded group (0..2).
 */
typedef struct {
    size_t line;
    size_t lines;
    size_t groups;
    size_t rest;
} mime_form;

static mime_form mime_form_of(size_t bytes, size_t line)
{
    mime_form form;
    size_t characters = (bytes + 2) / 3 * 4;
    form.line = line ? line : MIME_STEP_CHARACTERS;
    form.lines = characters == 0 ? 0 : (characters - 1) / form.line;
    form.rest = bytes % 3;
    form.groups = (bytes - form.lines * (form.line / 4 * 3)) / 3;
    return form;
}

/* Decode one body and verify it; 0 when it would not give its text again. */
static int mime_decode_body(uint8_t *bytes, const uint8_t *text, const mime_body *body)
{
    mime_form form = mime_form_of(body->bytes, body->line);
    size_t last = form.groups * 4;
    uint8_t again[4];
    if (!mime_decode_lines(bytes, text, form.lines, form.line, body->newline))
        return 0;
    bytes += form.lines * (form.line / 4 * 3);
    text += form.lines * (form.line + body->newline);
    if (last > 0 && !mime_decode_lines(bytes, text, 1, last, 0))
        return 0;
    if (form.rest == 0)
        return 1;
    bytes += form.groups * 3;
    text += last;
    bytes[0] = (uint8_t)(mime_value[text[0]] << 2 | mime_value[text[1]] >> 4);
    if (form.rest == 2)
        bytes[1] = (uint8_t)(mime_value[text[1]] << 4 | mime_value[text[2]] >> 2);
    mime_encode_rest(again, bytes, form.rest);
    return memcmp(again, text, 4) == 0;
}

/* Write the text of one body, without a newline behind its last line; returns its end. */
static uint8_t *mime_encode_body(uint8_t *text, const uint8_t *bytes, size_t count, size_t line, unsigned newline)
{
    mime_form form = mime_form_of(count, line);
    mime.encode(text, bytes, form.lines, form.line, newline);
    text += form.lines * (form.line + newline);
    bytes += form.lines * (form.line / 4 * 3);
    if (form.groups > 0)
        mime.encode(text, bytes, 1, form.groups * 4, 0);
    text += form.groups * 4;
    if (form.rest > 0) {
        mime_encode_rest(text, bytes + form.groups * 3, form.rest);
        text += 4;
    }
    return text;
}

/* Characters and newlines of a body; without overflow for all `count` up to 2^60. */
static size_t mime_text_bytes(size_t count, size_t line, unsigned newline)
{
    size_t characters = (count + 2) / 3 * 4;
    return characters + (line && characters ? (characters - 1) / line * newline : 0);
}

/*
 * Write the stream form of a span (text, then each body) and return its end. A body that does not stand the verification is
 * left in the text: `count` is what stayed, the rest has 0 bytes. `out` has room for `size` bytes: a body is shorter than its text.
 */
static uint8_t *mime_write(uint8_t *out, const uint8_t *text, size_t size, mime_body *bodies, size_t *count)
{
    for (;;) {
        uint8_t *to = out;
        size_t at = 0, i;
        for (i = 0; i < *count; i++) {
            memcpy(to, text + at, bodies[i].start - at);
            to += bodies[i].start - at;
            at = bodies[i].end;
        }
        memcpy(to, text + at, size - at);
        to += size - at;
        for (i = 0; i < *count; i++) {
            if (!mime_decode_body(to, text + bodies[i].start, &bodies[i]))
                break;
            to += bodies[i].bytes;
        }
        if (i == *count)
            return to;
        memmove(bodies + i, bodies + i + 1, (*count - i - 1) * sizeof *bodies);
        bodies[--*count].bytes = 0;
    }
}

/* ---- recipes ---- */

static uint8_t *mime_put_varint(uint8_t *out, uint64_t value)
{
    for (; value > 127; value >>= 7)
        *out++ = (uint8_t)(value | 128);
    *out++ = (uint8_t)value;
    return out;
}

/* The recipe of a span; `out` has MIME_RECIPE_BODY_BYTES_MAX for each body. Returns its bytes. */
static size_t mime_write_recipe(uint8_t *out, const mime_body *bodies, size_t count)
{
    uint8_t *to = out;
    size_t at = 0, i;
    for (i = 0; i < count; i++) {
        to = mime_put_varint(to, bodies[i].start - at);
        to = mime_put_varint(to, bodies[i].bytes);
        to = mime_put_varint(to, bodies[i].line);
        *to++ = (uint8_t)bodies[i].newline;
        at = bodies[i].end;
    }
    return (size_t)(to - out);
}

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} mime_reader;

/* One canonical varint of at most 2^63 - 1; -1: it is none. */
static int64_t mime_get_varint(mime_reader *reader)
{
    uint64_t value = 0;
    unsigned shift;
    for (shift = 0; shift < 63 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return byte == 0 && shift > 0 ? -1 : (int64_t)value;
    }
    return -1;
}

/* The next body of a recipe: `start` is the text before it. 0: end, 1: a body, -1: no recipe. */
static int mime_next(mime_reader *reader, mime_body *body)
{
    int64_t before, bytes, line;
    if (reader->at == reader->end)
        return 0;
    before = mime_get_varint(reader);
    bytes = before < 0 ? -1 : mime_get_varint(reader);
    line = bytes < 0 ? -1 : mime_get_varint(reader);
    if (line < 0 || line > MIME_LINE_CHARACTERS_MAX || line % 4 || bytes == 0 || reader->at == reader->end)
        return -1;
    body->start = (size_t)before;
    body->bytes = (size_t)bytes;
    body->line = (unsigned)line;
    body->newline = *reader->at++;
    return body->newline <= 2 && (body->newline == 0) == (line == 0) ? 1 : -1;
}

/* Content bytes of a stream, and in `text` its text bytes; -1: the recipe is none or does not fit. */
static int64_t mime_content_bytes(size_t stream, const uint8_t *recipe, size_t recipe_bytes, size_t *text)
{
    mime_reader reader = {recipe, recipe + recipe_bytes};
    mime_body body;
    size_t left = stream, before = 0, content = 0;
    int more;
    while ((more = mime_next(&reader, &body)) > 0) {
        if (body.bytes > left || body.start > left - body.bytes)
            return -1;
        left -= body.bytes + body.start;
        before += body.start;
        content += mime_text_bytes(body.bytes, body.line, body.newline);
    }
    *text = before + left;
    return more < 0 ? -1 : (int64_t)(content + *text);
}

/* Write the content again; sizes were checked by mime_content_bytes. */
static void mime_join(uint8_t *out, const uint8_t *stream, size_t text, size_t recipe_bytes, const uint8_t *recipe)
{
    mime_reader reader = {recipe, recipe + recipe_bytes};
    const uint8_t *end = stream + text;
    const uint8_t *bytes = end;
    mime_body body;
    while (mime_next(&reader, &body) > 0) {
        memcpy(out, stream, body.start);
        stream += body.start;
        out = mime_encode_body(out + body.start, bytes, body.bytes, body.line, body.newline);
        bytes += body.bytes;
    }
    memcpy(out, stream, (size_t)(end - stream));
}

#endif
