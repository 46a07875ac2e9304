/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4 against what AWS publishes: its test suite (credentials, request and signature are
 * facts of it) and the examples of the S3 and IAM documentation. And what the suite does not ask.
 */
#include "keeper/parts.h"
#include "test.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SUITE_TIME 1440938160 /* 2015-08-30T12:36:00Z */
#define S3_TIME 1369353600    /* 2013-05-24T00:00:00Z */

struct vector {
    const char *name, *service, *method, *url, *payload;
    const char *fields[9]; /* name, value, … */
    const char *headers, *signature;
};

static const struct vector suite[] = {
    { "get-vanilla",
      "service",
      "GET",
      "https://example.amazonaws.com/",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "post-vanilla",
      "service",
      "POST",
      "https://example.amazonaws.com/",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "get-vanilla-query-order-key-case",
      "service",
      "GET",
      "https://example.amazonaws.com/?Param2=value2&Param1=value1",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { "get-utf8",
      "service",
      "GET",
      "https://example.amazonaws.com/\xe1\x88\xb4",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    { "get-vanilla-utf8-query",
      "service",
      "GET",
      "https://example.amazonaws.com/?%E1%88%B4=bar",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
    { "get-unreserved",
      "service",
      "GET",
      "https://example.amazonaws.com/"
      "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
    { "get-slash",
      "service",
      "GET",
      "https://example.amazonaws.com//",
      EMPTY,
      { 0 },
      "host;x-amz-date",
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-header-key-duplicate",
      "service",
      "GET",
      "https://example.amazonaws.com/",
      EMPTY,
      { "my-header1", "value2", "my-header1", "value2", "my-header1", "value1" },
      "host;my-header1;x-amz-date",
      "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
    { "get-header-value-trim",
      "service",
      "GET",
      "https://example.amazonaws.com/",
      EMPTY,
      { "my-header2", " \"a   b   c\"", "my-header1", " value1" },
      "host;my-header1;my-header2;x-amz-date",
      "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    { "post-header-key-sort",
      "service",
      "POST",
      "https://example.amazonaws.com/",
      EMPTY,
      { "my-header1", "value1" },
      "host;my-header1;x-amz-date",
      "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
    { "post-x-www-form-urlencoded",
      "service",
      "POST",
      "https://example.amazonaws.com/",
      "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e", /* Param1=value1 */
      { "content-type", "application/x-www-form-urlencoded", "content-length", "13" },
      "content-type;host;x-amz-date",
      "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
    { "IAM ListUsers",
      "iam",
      "GET",
      "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
      EMPTY,
      { "content-type", "application/x-www-form-urlencoded; charset=utf-8" },
      "content-type;host;x-amz-date",
      "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7" },
};

#define S3_HEADERS "host;x-amz-content-sha256;x-amz-date"
static const struct vector s3[] = {
    { "GET object",
      "s3",
      "GET",
      "https://examplebucket.s3.amazonaws.com/test.txt",
      EMPTY,
      { "range", "bytes=0-9" },
      "host;range;x-amz-content-sha256;x-amz-date",
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "PUT object",
      "s3",
      "PUT",
      "https://examplebucket.s3.amazonaws.com/test$file.text",
      "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      { "date", "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class", "REDUCED_REDUNDANCY" },
      "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "PUT object, escaped",
      "s3",
      "PUT",
      "https://examplebucket.s3.amazonaws.com/test%24file.text",
      "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      { "date", "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class", "REDUCED_REDUNDANCY" },
      "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "GET bucket lifecycle",
      "s3",
      "GET",
      "https://examplebucket.s3.amazonaws.com/?lifecycle",
      EMPTY,
      { 0 },
      S3_HEADERS,
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "list objects",
      "s3",
      "GET",
      "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
      EMPTY,
      { 0 },
      S3_HEADERS,
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
};

static int sign(const struct vector *v, bool s3_one, const char *session, struct buf *ret,
                struct error *e)
{
    struct secret_field fields[4];
    char date[SIGV4_DATE_SIZE];
    size_t count = 0;
    for (; count < 4 && v->fields[2 * count]; count++)
        fields[count] = (struct secret_field){ bytes_of(v->fields[2 * count]),
                                               bytes_of(v->fields[2 * count + 1]) };
    struct sigv4_request q = {
        .region = "us-east-1",
        .service = v->service,
        .key_id = bytes_of(s3_one ? "AKIAIOSFODNN7EXAMPLE" : "AKIDEXAMPLE"),
        .secret = bytes_of(s3_one ? "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
                                  : "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        .session = bytes_of(session),
        .now_s = s3_one ? S3_TIME : SUITE_TIME,
        .method = bytes_of(v->method),
        .url = bytes_of(v->url),
        .payload = bytes_of(v->payload),
        .fields = fields,
        .field_count = count,
    };
    return sigv4_sign(&q, date, ret, e);
}

static void check(const struct vector *v, bool s3_one)
{
    CLEANUP(buf_done) struct buf got = BUF_INIT(4096), want = BUF_INIT(4096);
    struct error e = ERROR_INIT;
    if (sign(v, s3_one, "", &got, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s: %s", v->name, e.what);
    buf_printf(&want,
               "AWS4-HMAC-SHA256 Credential=%s/us-east-1/%s/aws4_request, SignedHeaders=%s, "
               "Signature=%s",
               s3_one ? "AKIAIOSFODNN7EXAMPLE/20130524" : "AKIDEXAMPLE/20150830", v->service,
               v->headers, v->signature);
    if (strcmp(buf_cstr(&got), buf_cstr(&want)) != 0)
        test_fail(__FILE__, __LINE__, "%s:\n%s, not\n%s", v->name, buf_cstr(&got), buf_cstr(&want));
}

TEST(published_suite)
{
    for (size_t i = 0; i < ARRAY_SIZE(suite); i++)
        check(&suite[i], false);
}

TEST(published_s3)
{
    for (size_t i = 0; i < ARRAY_SIZE(s3); i++)
        check(&s3[i], true);
}

static void same(const char *service, const char *one, const char *two, bool expected)
{
    CLEANUP(buf_done) struct buf a = BUF_INIT(4096), b = BUF_INIT(4096);
    struct vector v = { .service = service, .method = "GET", .url = one, .payload = EMPTY };
    CHECK_EQ(sign(&v, false, "", &a, NULL), 0);
    v.url = two;
    CHECK_EQ(sign(&v, false, "", &b, NULL), 0);
    if ((strcmp(buf_cstr(&a), buf_cstr(&b)) == 0) != expected)
        test_fail(__FILE__, __LINE__, "%s: %s and %s", service, one, two);
}

/* What a service reads as one thing is signed as one thing; what it tells apart is not. */
TEST(uris)
{
    same("s3", "https://h/a%24b", "https://h/a$b", true);
    same("s3", "https://h/a//b", "https://h/a/b", false);
    same("s3", "https://h/a%2525", "https://h/a%25", false);
    same("service", "https://h/a%24b", "https://h/a$b", false);
    same("service", "https://h/a//b", "https://h/a/b", true);
    same("service", "https://h", "https://h/", true);
    same("service", "https://h/?a=1&b", "https://h/?b=&a=1", true);
    same("service", "https://h/?a=1&a=2", "https://h/?a=2&a=1", true);
    same("service", "https://h/?a=b+c", "https://h/?a=b%20c", true);
    same("service", "https://h/?a=b%2Bc", "https://h/?a=b%20c", false);
    same("service", "https://h/?a=b=c", "https://h/?a=b%3Dc", true);
    same("service", "https://h/?a=%zz", "https://h/?a=%25zz", true);
    same("service", "https://h/?ab=1&a=2", "https://h/?a=2&ab=1", true);
    same("service", "https://h/?ab=1", "https://h/?a=b1", false);
    same("service", "https://h:8443/", "https://h/", false);
}

/* Whatever the guest said about these, ours is what is signed and sent. */
TEST(headers_of_ours)
{
    CLEANUP(buf_done) struct buf a = BUF_INIT(4096), b = BUF_INIT(4096), c = BUF_INIT(4096);
    struct vector plain = {
        .service = "s3", .method = "GET", .url = "https://h/", .payload = EMPTY
    };
    struct vector claimed = plain;
    const char *lies[] = {
        "host",   "evil",          "x-amz-date", "20000101T000000Z", "x-amz-security-token",
        "theirs", "authorization", "theirs"
    };
    memcpy(claimed.fields, lies, sizeof(lies));
    CHECK_EQ(sign(&plain, true, "session", &a, NULL), 0);
    CHECK_EQ(sign(&claimed, true, "session", &b, NULL), 0);
    CHECK_STR(buf_cstr(&a), buf_cstr(&b));
    CHECK_HAS(buf_cstr(&a),
              "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,");
    CHECK_EQ(sign(&plain, true, "another", &c, NULL), 0);
    CHECK(strcmp(buf_cstr(&a), buf_cstr(&c)) != 0);
}

TEST(too_much)
{
    CLEANUP(buf_done)
    struct buf url = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), small = BUF_INIT(64);
    struct error e = ERROR_INIT;
    struct vector v = { .service = "service", .method = "GET", .payload = EMPTY };
    buf_puts(&url, "https://h/?");
    for (int i = 0; i < 1025; i++)
        buf_puts(&url, "a=1&");
    v.url = buf_cstr(&url);
    CHECK_EQ(sign(&v, false, "", &out, &e), -E2BIG);
    CHECK_EQ(out.size, 0);
    v.url = "no host";
    CHECK_EQ(sign(&v, false, "", &out, NULL), -EINVAL);
    v.url = "https://h/";
    CHECK_EQ(sign(&v, false, "", &small, NULL), -EMSGSIZE);
}

static int sign_once(void)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct error e = ERROR_INIT;
    return sign(&suite[8], false, "session", &out, &e);
}

TEST(no_memory)
{
    TORTURE(sign_once());
}

TEST_MAIN()
